"""The networks, their heads, and the music they compose."""

from .chords import ChordHead
from .fast_scan import selective_scan, ssd_scan
from .frame_model import FrameModel
from .generation import generate_from_random_seed, generate_music, generate_random_seed
from .last_frame import LastFrame
from .lstm import MusicLSTM
from .mamba import CausalConv, MusicMamba, S6Block, SSDBlock
from .scan import scan_loop, scan_step, scan_textbook, ssd_step
from .velocity import VelocityHead
