"""Noise with the spectrum of natural images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["pink_noise"]


def pink_noise(size: tuple[int, int], rng: np.random.Generator, index: int = 0) -> NDArray[np.float32]:
    """1/f noise ``(height, width, 3)``, mostly in [0, 1]; slope, contrast, brightness and colourfulness vary."""
    height, width = size
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    frequency[0, 0] = 1 / max(size)
    amplitude = frequency ** -rng.uniform(0.7, 1.6)
    spectra = np.fft.fft2(rng.standard_normal((3, height, width))) * amplitude
    noise = np.moveaxis(np.fft.ifft2(spectra).real, 0, -1)
    grey = noise.mean(axis=2, keepdims=True)
    noise = grey + rng.uniform(0, 1) * (noise - grey)
    spread = noise.std()
    noise = (noise - noise.mean()) / (spread if spread else 1.0)
    return (noise * rng.uniform(0.1, 0.3) + rng.uniform(0.3, 0.7)).astype(np.float32)
