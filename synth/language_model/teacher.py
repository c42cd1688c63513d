"""A language model as the teacher: dialogues for tasks, inputs and solutions, every answer kept as it comes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from reward.config import JudgeSettings
from reward.judge import Judge
from synth.answers import AnswerError
from synth.config import SolutionSettings, SynthSettings
from synth.features.subtrees import Subtrees
from synth.language_model.dialogue import Dialogue, Ended, Interview, Question, Unusable
from synth.language_model.inputs import collect_inputs
from synth.language_model.model import load_model
from synth.language_model.programs import Written, ask_programs, read_only_program
from synth.language_model.tasks import ask_task
from synth.prompts import render
from synth.tables import Candidate, Quarantined, Task, TaskInputs, WorkTables, split_of
from synth.teacher import TaskOrder
from xcoder_train.core.errors import InfrastructureError
from xcoder_train.core.generation.answered import Answers
from xcoder_train.core.generation.config import SamplingSettings
from xcoder_train.core.generation.request import Completion, Generator, Unanswered
from xcoder_train.core.problem import Limits
from xcoder_train.core.prompt import Message
