from tests.support.small_videos import make_video

__all__ = ["make_video"]
