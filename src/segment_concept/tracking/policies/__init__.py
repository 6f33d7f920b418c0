"""The memory policies: which memories a frame attends to, and which proposed mask is taken."""

from segment_concept.tracking.policies.base import MemoryPolicy, best_iou
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.policies.sam2long import TreeMemory
from segment_concept.tracking.policies.samurai import MotionMemory
from segment_concept.tracking.policies.sec import ReliableMemory

__all__ = [
    "MemoryPolicy",
    "MotionMemory",
    "RecentMemory",
    "ReliableMemory",
    "TreeMemory",
    "best_iou",
]
