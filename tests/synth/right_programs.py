"""The right programs of a pipeline, for tests that need all of them."""

from synth.procedural.pipeline import Pipeline
from synth.procedural.teacher import write_program, writings


def right_programs(pipeline: Pipeline) -> list[str]:
    """Every distinct right program for the pipeline."""
    return list(dict.fromkeys(write_program(pipeline, writing) for writing in writings(pipeline)))
