"""The languages that are compiled to one static executable: each is one file of `reward/languages/`.

Python needs no such file: the sandbox's own processes are Python.
"""

import shutil
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from xcoder_core.errors import EnvironmentLacks

FOLDER = Path(__file__).parent / "languages"
PYTHON = "python"


@dataclass(frozen=True)
class CompiledLanguage:
    """How a program becomes a static executable: `compiler` reads it from standard input and writes `{output}`.

    `readable` are the paths that compiling may read and run. `killed` is a pattern of what the compiler says, and no
    program can make it say, where a part of it was killed from outside: nothing is then known about the program.
    """

    name: str
    compiler: str
    arguments: tuple[str, ...]
    readable: tuple[str, ...]
    killed: str

    def find_compiler(self) -> str:
        """The compiler's path. Raises `EnvironmentLacks` where it is not installed."""
        compiler = shutil.which(self.compiler)
        if compiler is None:
            raise EnvironmentLacks(
                f"judging programs in {self.name!r} needs the compiler {self.compiler!r}, which is not installed"
            )
        # Where /bin is a link to /usr/bin, only the latter is among the readable paths. The program's own name stays:
        # compilers look at it to see which language they are asked for.
        return str(Path(compiler).parent.resolve() / Path(compiler).name)


@cache
def compiled_languages() -> dict[str, CompiledLanguage]:
    """All of them by name, which is that of their file."""
    languages = {}
    for path in sorted(FOLDER.glob("*.toml")):
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
        languages[path.stem] = CompiledLanguage(
            name=path.stem,
            compiler=settings["compiler"],
            arguments=tuple(settings["arguments"]),
            readable=tuple(settings["readable"]),
            killed=settings["killed"],
        )
    return languages
