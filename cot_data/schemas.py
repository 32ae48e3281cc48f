"""The documents of the chain-of-thought data, one schema each, used for writing and for reading."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tlrec.api.ledger import Parameters
from tlrec.data.preference_text import NOUN

STEPS = 3


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class CotAnswers(_Record):
    """The three answers about one liked sample: a record of three_stages.json."""

    teacher: str
    source: str
    parameters: Parameters | None  # of the requests; None for answers by rules
    sample: int  # among the liked samples of the source
    row: int  # in the source file
    noun: str = Field(pattern=f"^(?:{NOUN})$")
    target: str
    candidates: list[str]
    watched: list[str]
    prompts: list[str] = Field(min_length=STEPS, max_length=STEPS)
    answers: list[str] = Field(min_length=STEPS, max_length=STEPS)
    hit: bool  # the target is recommended by its exact title
    hit_in_text: bool  # the published rule: the target occurs anywhere in the third answer


class PublishedAnswers(_Record):
    """A record of three_stages.json as the authors' script writes it; it has further keys, which are not read."""

    PID: int  # among the liked samples of the source
    Input_1: str
    Input_2: str
    Input_3: str
    Predictions_1: str | None  # null: the server sent no text; their script checks the third answer alone
    Predictions_2: str | None
    Predictions: str | None  # the third answer
    GT: str  # the target
    Hit: Literal[0, 1]  # 1: the target occurs anywhere in the third answer

    @property
    def answers(self) -> list[str]:
        """The three answers; none where one of them is missing or blank."""
        given = [text for text in (self.Predictions_1, self.Predictions_2, self.Predictions) if text and text.strip()]
        return given if len(given) == STEPS else []


class CotDataset(_Record):
    """Where a file of tuning samples comes from: stage123_about.json beside stage123.json."""

    teacher: str
    parameters: list[Parameters]  # of its requests, as far as they differ
    source: str
    three_stages_sha256: str
    stages: list[str]
    samples: int
    answered: int
    hits: int
    hits_by_published_rule: int
    kept: str  # which of the two became samples: exact or published
    sha256: str  # of the samples
    tokens: dict[str, int] | None
