"""Run by torchrun in the tests: several trainings, one after the other, in the same processes."""

import json
import sys

from nemo_ext.config import compose
from nemo_ext.training.run import train

if __name__ == "__main__":
    for line in json.loads(sys.argv[1]):
        train(compose("train", line))
