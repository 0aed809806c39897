"""E0241: Python among the language."""

from typing import ClassVar

from expc.diagnostics import Problem
from expc.frozen import dataclass


@dataclass(frozen=True, kw_only=True)
class PythonLine(Problem):
    """A line of Python that defines or calls a module of PyTorch, where the language says it otherwise.

    Tensors flow through `->`, and settings stand in parentheses: `self.fc = nn.Linear(8, 16)` with `x = self.fc(x)`
    is `fc: Linear(16)` where it is used. What follows from the input, such as `in_features`, is not written.

    ```exp wrong
    model Net(x: f32[N, 8]) -> f32[N, 2] {
      self.hidden = nn.Linear(8, 16)
      x = torch.relu(x)
      nn.Linear(16, 2)
    }
    ```

    ```exp right
    model Net(x: f32[N, 8]) -> f32[N, 2] {
      hidden: Linear(16)
      relu
      Linear(2)
    }
    ```
    """

    code: ClassVar[str] = "E0241"
    name: ClassVar[str] = "python-line"
    template: ClassVar[str] = "this is Python; {advice}"

    advice: str
