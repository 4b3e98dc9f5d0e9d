"""PaddleNLP's ErnieModel, without the second and a half that the rest of PaddleNLP takes to import."""

from __future__ import annotations

import importlib
import sys
import threading
import types
from importlib import machinery, metadata, util

import paddle
from paddle import nn

PACKAGE = "paddlenlp"
_importing = threading.Lock()


def empty_ernie(config: dict) -> nn.Layer:
    """An ErnieModel of `config` whose parameters have their shapes and, until they are set, no values."""
    transformers = import_transformers()
    with paddle.LazyGuard(), transformers.model_utils.no_init_weights():
        ernie = transformers.ErnieModel(transformers.ErnieConfig(**config))
    for layer in ernie.sublayers():
        if isinstance(layer, nn.LayerNorm):
            # ERNIE's ε is set by the hook that draws random weights, and those nobody needs.
            ernie._init_weights(layer)
    for parameter in ernie.parameters():
        # Space for the values that come, without drawing others first: 5 ns a number.
        parameter.set_init_func(nn.initializer.Constant(0.0).forward)
    return ernie


def import_transformers() -> types.ModuleType:
    """`paddlenlp.transformers`.

    `import paddlenlp` brings its tasks, datasets, server and metrics (pandas, scipy, scikit-learn): 1.9 s and 165 MiB more
    than the models need. So its parts are imported below an empty package, which is taken away again: who imports
    `paddlenlp` later gets all of it, with these same classes. Where that fails, PaddleNLP is imported as it is.
    """
    with _importing:
        if PACKAGE not in sys.modules:
            found = util.find_spec(PACKAGE)
            if found is not None and found.submodule_search_locations is not None:
                _import_below_empty_package(found)
    return importlib.import_module(f"{PACKAGE}.transformers")


def _import_below_empty_package(found: machinery.ModuleSpec) -> None:
    empty = types.ModuleType(PACKAGE)
    empty.__path__ = list(found.submodule_search_locations or ())
    empty.__spec__ = found
    vars(empty)["__version__"] = metadata.version(PACKAGE)
    before = set(sys.modules)
    sys.modules[PACKAGE] = empty
    try:
        # Its own order: data first, which transformers and data import each other by.
        importlib.import_module(f"{PACKAGE}.data")
        importlib.import_module(f"{PACKAGE}.transformers")
        # As the package itself does: Paddle's handlers would print a stack trace when a job is stopped.
        paddle.disable_signal_handler()
    except ImportError:
        for name in set(sys.modules) - before:
            if name.startswith(f"{PACKAGE}."):
                del sys.modules[name]
    finally:
        del sys.modules[PACKAGE]
