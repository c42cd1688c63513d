"""How a language model is asked for a candidate solution, and which answers count as one."""

from functools import partial

from synth.answers import AnswerError
from synth.config import SolutionSettings
from synth.language_model.dialogue import Dialogue, Question, Unusable
from synth.language_model.programs import read_only_program
from synth.prompts import render
from synth.tables import Candidate, Task
from xcoder_train.core.generation.request import Completion
from xcoder_train.core.prompt import Message


def ask_solution(task: Task, index: int, model: str, settings: SolutionSettings) -> Dialogue[Candidate]:
    """The dialogue for one candidate. An answer that holds no usable program makes a candidate with its fault."""
    ask = partial(render, "write_solution", statement=task.problem.statement, starter_code=task.problem.starter_code)

    def again(messages: list[Message], answer: str, error: str) -> list[Message]:
        return ask(error=error)  # from the start: the answer becomes a training example, without a conversation

    try:
        response, code = yield Question(
            "write_solution", ask(error=None), lambda answer: read_solution(answer, settings), again
        )
    except Unusable as fault:
        return Candidate(task.task_id, index, model, fault.answer, "", fault.reason)
    return Candidate(task.task_id, index, model, response, code, None)


def read_solution(answer: Completion, settings: SolutionSettings) -> tuple[str, str]:
    """The whole completion and its program; raises `AnswerError` outside the token range or without one program."""
    if settings.tokens is not None and not settings.tokens[0] <= answer.completion_tokens <= settings.tokens[1]:
        raise AnswerError("outside the token range")
    return answer.text, read_only_program(answer.text)
