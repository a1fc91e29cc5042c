from tests.support.damage import make_moving
from tests.support.small_videos import make_video

__all__ = ["make_moving", "make_video"]
