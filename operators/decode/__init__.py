"""Video to RGB at the model's size, and nothing lost on the way.

container.py    opening a file: whitelists, the choice of a stream, errors that name the file
packets.py      demux: packets as they are in the file, failed reads counted
wrap.py         clocks of 33 bits told on
rest.py         recordings behind the end of what FFmpeg reads
reader.py       decode: pictures in display order, damage counted, resume at any frame
line.py         one line of time through parts that were joined
damage.py       one packet to a decoder that damage has stopped
deinterlace.py  two fields to one picture
picture.py      one picture to RGB: size, rotation, colour
index.py        where the keyframes are: seeking that is exact, ranges for parallel reading
"""

from plantain.operators.decode.container import open_video
from plantain.operators.decode.index import PacketIndex, Range, scan
from plantain.operators.decode.picture import PictureConverter
from plantain.operators.decode.reader import Decoded, VideoReader

__all__ = ["Decoded", "PacketIndex", "PictureConverter", "Range", "VideoReader", "open_video", "scan"]
