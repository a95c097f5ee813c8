"""The states of objects as plain data and arrays: parameters, optimizers, random generators."""
