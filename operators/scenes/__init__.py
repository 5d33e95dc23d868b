"""Procedural street scenes with exact labels: training data, and what the synthetic source shows."""

from plantain.operators.scenes.captions import referring
from plantain.operators.scenes.descriptions import Setting, described
from plantain.operators.scenes.frame import SceneFrame, SceneObject
from plantain.operators.scenes.scene import Scene
from plantain.operators.scenes.stamp import read_stamp, stamp

__all__ = [
    "Scene", "SceneFrame", "SceneObject", "Setting", "described", "read_stamp", "referring", "stamp",
]  # fmt: skip
