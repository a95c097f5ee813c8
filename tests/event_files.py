"""Reading TensorBoard's event files."""

import struct

import pytest


def scalars(folder):
    """Read the scalars in the event files of a folder, as TensorBoard does."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:  # length, its checksum, the event, its checksum
            (size,) = struct.unpack("<Q", data[:8])
            event = event_pb2.Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]
            found += [(v.tag, v.simple_value, event.step) for v in event.summary.value]
    return found
