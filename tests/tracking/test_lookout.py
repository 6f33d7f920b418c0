"""Frames that are encoded before their turn."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from tracking_toy import Blob, ColourSegmenter

from segment_concept import Frame, Mask, Tracker
from segment_concept.tracking.lookout import Lookout
from segment_concept.tracking.segmenter import Features


