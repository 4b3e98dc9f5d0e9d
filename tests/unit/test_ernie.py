"""The encoder as PaddleNLP makes it, without the rest of PaddleNLP."""

import json
import subprocess
import sys

SMALL = {
    "vocab_size": 30,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
}


def told_by(code: str) -> dict:
    """What a fresh interpreter prints as JSON in its last line."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_models_come_without_paddlenlps_tasks_and_the_whole_package_still_can():
    found = told_by(
        "import json, sys\n"
        "from training.fewshot.ernie import empty_ernie\n"
        f"made = empty_ernie({SMALL!r})\n"
        "heavy = [name for name in ('sklearn', 'pandas', 'datasets', 'fastapi') if name in sys.modules]\n"
        "rest = 'paddlenlp' in sys.modules\n"
        "import paddlenlp\n"
        "from paddlenlp.prompt import SoftVerbalizer\n"
        "from paddlenlp.transformers import ErnieModel\n"
        "print(json.dumps({'heavy': heavy, 'left': rest, 'same': type(made) is ErnieModel,\n"
        "    'whole': hasattr(paddlenlp, 'Taskflow')}))"
    )
    assert found == {"heavy": [], "left": False, "same": True, "whole": True}


def test_a_paddlenlp_that_is_there_already_is_used():
    found = told_by(
        "import json, paddlenlp\n"
        "from training.fewshot.ernie import import_transformers\n"
        "print(json.dumps(import_transformers() is paddlenlp.transformers))"
    )
    assert found is True


def test_where_its_parts_cannot_be_had_alone_it_is_imported_as_it_is():
    found = told_by(
        "import importlib, json, sys\n"
        "from training.fewshot import ernie\n"
        "real, refusals = importlib.import_module, ['another version, another order']\n"
        "def refused(name, *rest, **named):\n"
        "    if name == 'paddlenlp.data' and refusals:\n"
        "        raise ImportError(refusals.pop())\n"
        "    return real(name, *rest, **named)\n"
        "importlib.import_module = refused\n"
        f"made = ernie.empty_ernie({SMALL!r})\n"
        "print(json.dumps([hasattr(sys.modules['paddlenlp'], 'Taskflow'), type(made).__name__, refusals]))"
    )
    assert found == [True, "ErnieModel", []]


def test_the_empty_encoder_has_ernies_epsilon_and_takes_values():
    import numpy as np
    from paddle import nn

    from training.fewshot.ernie import empty_ernie
    from training.fewshot.text_network import set_array

    ernie = empty_ernie(SMALL)
    norms = [layer for layer in ernie.sublayers() if isinstance(layer, nn.LayerNorm)]
    assert len(norms) == 5
    assert {layer._epsilon for layer in norms} == {1e-12}
    random = np.random.default_rng(0)
    for name, parameter in ernie.named_parameters():
        given = random.normal(size=parameter.shape).astype(np.float32)
        set_array(parameter, name, given)
        assert (parameter.numpy() == given).all()
