"""How trials end, whatever ends them, and which process is at one."""
