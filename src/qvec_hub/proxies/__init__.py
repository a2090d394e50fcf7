"""Images that have nothing to do with any receiver's task: what a model is watched on when nobody has its data."""

from .draw import proxy_images
from .model_inputs import enough_images, proxy_pixels

__all__ = ["enough_images", "proxy_images", "proxy_pixels"]
