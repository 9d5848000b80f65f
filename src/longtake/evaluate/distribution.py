"""How far is one set of pictures from another? Measures between distributions, on principal components.

Features are the first principal components of real pictures, scaled so that real pictures have total variance 1.
Axes: n pictures, d values of a picture, k components.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Components:
    """Principal components of a set: `directions` d k (orthonormal), `spread` k (standard deviations)."""

    mean: Array
    directions: Array
    spread: Array

    @classmethod
    def of(cls, pictures: Array, count: int) -> Components:
        """Fitted on `pictures` n d; at most `count`, and fewer where the set has fewer."""
        mean = pictures.mean(0)
        _, values, rows = np.linalg.svd(pictures - mean, full_matrices=False)
        kept = min(count, int((values > 1e-6 * values[0]).sum()))
        return cls(mean, rows[:kept].T, values[:kept] / np.sqrt(len(pictures)))

    def project(self, pictures: Array) -> Array:
        """n d -> n k, in the pictures' own unit."""
        return np.asarray((pictures - self.mean) @ self.directions)

    def features(self, pictures: Array) -> Array:
        """n d -> n k, one scale for all components: the fitted set's total variance is 1."""
        return self.project(pictures) / float(np.sqrt(np.square(self.spread).sum()))

    def whiten(self, pictures: Array) -> Array:
        """n d -> n k, every component of the fitted set with variance 1."""
        return np.asarray(self.project(pictures) / self.spread)

    def restore(self, whitened: Array) -> Array:
        """n k -> n d: what `whiten` kept of a picture."""
        return np.asarray((whitened * self.spread) @ self.directions.T + self.mean)


def frechet(a: Array, b: Array) -> float:
    """Squared Frechet distance between the Gaussians with the means and covariances of a and b (both n k).

    |m - n|^2 + tr(A + B - 2 (A B)^(1/2)); the trace of the root is the sum of the roots of A B's eigenvalues
    (Dowson and Landau 1982; Heusel et al. 2017 on the features of a classifier).
    """
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    roots = np.sqrt(np.linalg.eigvals(np.atleast_2d(first) @ np.atleast_2d(second)).real.clip(min=0)).sum()
    between = float(np.square(a.mean(0) - b.mean(0)).sum())
    return max(0.0, between + float(np.trace(np.atleast_2d(first + second)) - 2 * roots))


def diversity(made: Array, real: Array) -> float:
    """Mean distance between two made pictures, as a share of that between two real ones (both n k)."""
    return _mean_distance(made) / _mean_distance(real)


def recall(made: Array, real: Array, k: int = 3) -> float:
    """Share of `real` that lies among `made`: no farther from some made picture than its k-th nearest made one.

    Kynkaanniemi et al. 2019, arXiv:1904.06991. With the sets exchanged it is their precision.
    """
    own = np.sort(_distances(made, made), axis=1)
    radius = own[:, min(k, len(made) - 1)]  # the nearest is the picture itself
    return float((_distances(real, made) <= radius).any(1).mean())


def _mean_distance(points: Array) -> float:
    count = len(points)
    return float(_distances(points, points).sum() / (count * (count - 1)))


def _distances(a: Array, b: Array) -> Array:
    """Euclidean distances, n m."""
    squared = np.square(a).sum(1)[:, None] + np.square(b).sum(1)[None] - 2 * a @ b.T
    return np.asarray(np.sqrt(squared.clip(min=0)))
