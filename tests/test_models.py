"""The models: as many parameters as they say, causal, exact for every way of cutting a piece, clear about mistakes."""

import importlib.util
import math
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from midigen_utils.models.frame_model import FrameModel
from midigen_utils.models.lstm import MusicLSTM
from midigen_utils.models.mamba import CausalConv, MusicMamba, S6Block

SMALL = {
    "lstm": lambda: MusicLSTM(hidden_size=32),
    "s6": lambda: MusicMamba(d_model=32, n_layers=2),
    "ssd": lambda: MusicMamba(d_model=32, n_layers=2, ssm="ssd"),
}


@pytest.fixture(params=SMALL)
def model(request):
    torch.manual_seed(0)
    return SMALL[request.param]().eval()


def random_frames(batch, length, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(batch, length, 88, generator=generator) < 0.1).float()


def tensors(hidden):
    """The tensors of a hidden state, of either model."""
    return [part for layer in hidden for part in (layer if isinstance(layer, tuple) else (layer,))]


@pytest.mark.parametrize(
    "build, count",
    [
        (MusicLSTM, 6_268_504),
        (MusicMamba, 1_797_720),
        (lambda: MusicMamba(ssm="ssd"), 1_773_752),
    ],
)
def test_parameter_counts(build, count):
    assert sum(parameter.numel() for parameter in build().parameters()) == count


def test_config_is_plain_and_builds_the_same_model(model):
    again = type(model)(**model.config)
    again.load_state_dict(model.state_dict())
    x = random_frames(2, 5)
    assert torch.equal(again.eval()(x)[0], model(x)[0])
    assert all(type(value) in (int, float, str) for value in model.config.values())


def test_forward_is_the_projection_of_features(model):
    x = random_frames(2, 7)
    features, _ = model.features(x)
    assert features.shape == (2, 7, model.feature_size)
    assert torch.equal(model.output(features), model(x)[0])


def test_outputs_are_logits_not_probabilities(model):
    with torch.no_grad():
        model.output.weight.mul_(20)
        logits, _ = model(random_frames(4, 50))
    assert logits.shape == (4, 50, 88)
    assert logits.min() < 0 and logits.max() > 1


@pytest.mark.parametrize("cuts", [[1] * 70, [64, 1, 5], [1, 69], [69, 1], [2, 3, 62, 1, 2], [35, 35]])
def test_whole_equals_chunks_equals_steps(model, cuts):
    x = random_frames(2, 70)
    with torch.no_grad():
        whole, last = model(x)
        pieces, hidden = [], None
        for chunk in x.split(cuts, dim=1):
            logits, hidden = model(chunk, hidden)
            pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=1e-4, atol=1e-5)
    for ours, right in zip(tensors(hidden), tensors(last), strict=True):
        torch.testing.assert_close(ours, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ssm", ["s6", "ssd"])
@pytest.mark.parametrize("tile", [1, 7, 16, 50])
def test_the_tile_size_changes_nothing(monkeypatch, ssm, tile):
    torch.manual_seed(0)
    model, x = SMALL[ssm]().double(), random_frames(5, 16).double()
    _, hidden = model(x)
    results = []
    for size in (1024, tile):
        monkeypatch.setattr("midigen_utils.models.mamba.TILE", size)
        model.zero_grad()
        for start in (None, hidden):
            logits, last = model(x, start)
            logits.square().sum().backward(retain_graph=True)
            results.append([logits, *tensors(last), *(p.grad.clone() for p in model.parameters())])
    for i in (0, 1):
        for whole, tiled in zip(results[i], results[i + 2], strict=True):
            torch.testing.assert_close(tiled, whole)


def test_full_size_models_step_as_they_train():
    for build in (MusicLSTM, MusicMamba, lambda: MusicMamba(ssm="ssd")):
        torch.manual_seed(0)
        model, x, hidden = build().eval(), random_frames(1, 66), None
        whole, _ = model(x)
        with torch.inference_mode():
            first, hidden = model(x[:, :50])
            steps = [first]
            for t in range(50, 66):
                logits, hidden = model(x[:, t : t + 1], hidden)
                steps.append(logits)
        torch.testing.assert_close(torch.cat(steps, dim=1), whole.detach(), rtol=1e-4, atol=1e-5)


def test_a_step_with_gradients_equals_one_without(model):
    x = random_frames(2, 4)
    _, hidden = model(x)
    with_gradient, _ = model(x[:, :1], hidden)
    with torch.no_grad():
        without, _ = model(x[:, :1], hidden)
    torch.testing.assert_close(without, with_gradient, rtol=1e-4, atol=1e-6)
    with_gradient.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_gradients_equal_those_of_float64(model):
    x, target = random_frames(3, 40), random_frames(3, 40, seed=2)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        model.to(dtype).zero_grad()
        F.binary_cross_entropy_with_logits(model(x.to(dtype))[0], target.to(dtype)).backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters()})
    for name, ours in gradients[0].items():
        right = gradients[1][name]
        assert (ours - right).abs().max() <= 2e-5 * right.abs().max() + 1e-9, name


def test_gradients_equal_differences(model):
    """Every hand-written backward inside the model, against finite differences in float64."""
    model.double()
    x, target = random_frames(2, 6).double(), random_frames(2, 6, seed=2).double()

    def loss():
        return F.binary_cross_entropy_with_logits(model(x)[0], target)

    loss().backward()
    for name, parameter in model.named_parameters():
        direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)).double()
        slope = (parameter.grad * direction).sum()
        with torch.no_grad():
            losses = []
            for step in (1e-5, -2e-5):
                parameter += step * direction
                losses.append(loss())
            parameter += 1e-5 * direction
        torch.testing.assert_close((losses[0] - losses[1]) / 2e-5, slope, rtol=1e-4, atol=1e-8, msg=name)


def test_changing_a_frame_changes_no_logit_before_it(model):
    x = random_frames(2, 70)
    before, _ = model(x)
    for t in (1, 33, 64, 69):
        changed = x.clone()
        changed[:, t] = 1 - changed[:, t]
        after, _ = model(changed)
        assert torch.equal(after[:, :t], before[:, :t])
        assert not torch.equal(after[:, t], before[:, t])


def test_rows_of_a_batch_do_not_see_each_other(model):
    x = random_frames(9, 40)
    alone, _ = model(x[4:5])
    torch.testing.assert_close(model(x)[0][4:5], alone, rtol=1e-4, atol=1e-5)


def test_hidden_survives_a_file_and_is_not_changed_by_use(model, tmp_path):
    x = random_frames(2, 10)
    with torch.no_grad():
        _, hidden = model(x)
        torch.save(hidden, tmp_path / "hidden.pt")
        loaded = torch.load(tmp_path / "hidden.pt", weights_only=True)
        first, _ = model(x[:, :1], hidden)
        again, _ = model(x[:, :1], hidden)
        from_file, _ = model(x[:, :1], loaded)
    assert torch.equal(first, again) and torch.equal(first, from_file)
    assert all(part.dtype == torch.float32 and part.shape.count(2) for part in tensors(hidden))


@pytest.mark.parametrize("shape", [(88,), (5, 88), (2, 5, 87), (2, 0, 88), (1, 2, 5, 88)])
def test_a_wrong_input_shape_is_named(model, shape):
    with pytest.raises(ValueError, match=r"expected \(B, T, 88\)"):
        model(torch.zeros(shape))


def test_a_hidden_of_another_model_or_batch_fails(model):
    x = random_frames(2, 3)
    wrong = [build()(x)[1] for build in SMALL.values() if build().state_dict().keys() != model.state_dict().keys()]
    wrong += [model(random_frames(3, 3))[1], (torch.zeros(1),), 3, model(x)[1][:1]]
    for hidden in wrong:
        for length in (1, 3):
            with pytest.raises((ValueError, TypeError, RuntimeError, AttributeError, IndexError)):
                model(x[:, :length], hidden)


def test_mamba_refuses_settings_it_cannot_build():
    with pytest.raises(ValueError, match="use 's6' or 'ssd'"):
        MusicMamba(ssm="s4")
    with pytest.raises(ValueError, match="multiple of 64"):
        MusicMamba(d_model=40, ssm="ssd")


def test_initialisation_is_that_of_the_papers():
    model = MusicMamba()
    for layer in model.layers:
        rates = -torch.exp(layer.A_log)
        torch.testing.assert_close(rates, -torch.arange(1.0, 17).unsqueeze(1).expand(16, 512))
        dt = F.softplus(layer.dt_proj.bias)
        assert 0.00099 < dt.min() < 0.0015 and 0.07 < dt.max() < 0.101
        assert torch.equal(layer.D, torch.ones(512))
    for layer in MusicMamba(ssm="ssd").layers:
        assert ((layer.A_log.exp() >= 1) & (layer.A_log.exp() <= 16)).all()


def test_weight_decay_can_tell_matrices_apart():
    decayed = {
        name.split(".", 2)[-1] if name.startswith("layers") else name
        for name, parameter in MusicMamba().named_parameters()
        if parameter.ndim >= 2 and not getattr(parameter, "_no_weight_decay", False)
    }
    projections = {f"{name}.weight" for name in ("in_proj", "conv", "x_proj", "dt_proj", "out_proj")}
    assert decayed == projections | {"output.weight"}


def test_dropout_works_in_training_only():
    for model in (MusicLSTM(hidden_size=32, dropout=0.5), MusicMamba(d_model=32, n_layers=2, dropout=0.5)):
        x = random_frames(2, 8)
        assert not torch.equal(model(x)[0], model(x)[0])
        model.eval()
        assert torch.equal(model(x)[0], model(x)[0])


@pytest.mark.parametrize("dtype, bound", [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
@pytest.mark.parametrize("ssm", ["s6", "ssd"])  # torch has no half-precision LSTM for every CPU
def test_half_precision_stays_close_and_trains(ssm, dtype, bound):
    torch.manual_seed(0)
    model, x = SMALL[ssm](), random_frames(2, 65)
    exact, _ = model(x)
    with torch.autocast("cpu", dtype=dtype):
        logits, hidden = model(x)
        F.binary_cross_entropy_with_logits(logits.float(), x).backward()
        stepped, _ = model(x[:, :1], hidden)
    assert torch.isfinite(stepped).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert (logits.float() - exact).abs().max() < bound * exact.abs().max()


@pytest.mark.parametrize("bias", [-100.0, -20.0, 20.0, 100.0])
def test_extreme_step_sizes_train(bias):
    torch.manual_seed(0)
    for model in (SMALL["s6"](), SMALL["ssd"]()):
        for layer in model.layers:
            nn.init.constant_(layer.dt_proj.bias if isinstance(layer, S6Block) else layer.dt_bias, bias)
        logits, _ = model(random_frames(2, 130))
        logits.square().mean().backward()
        assert torch.isfinite(logits).all()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def generate_frames(model, count):
    """Feed the model its own samples, `count` frames; the largest logit and state it ever had."""
    generator, largest = torch.Generator().manual_seed(0), 0.0
    with torch.inference_mode():
        logits, hidden = model(random_frames(1, 16))
        for t in range(count):
            frame = torch.bernoulli(torch.sigmoid(logits[:, -1:]), generator=generator)
            logits, hidden = model(frame, hidden)
            if t % 100 == 0 or t == count - 1:
                largest = max([largest, *(part.abs().max().item() for part in [logits, *tensors(hidden)])])
                assert math.isfinite(largest), f"not finite after {t} frames"
    return largest


def test_generation_stays_finite(model):
    assert generate_frames(model, 2_000) < 1e3


@pytest.mark.slow
def test_generation_stays_finite_for_100_000_frames(model):
    assert generate_frames(model, 100_000) < 1e3


class Recorder(TorchDispatchMode):
    """Writes down every operator that runs."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(str(function).removeprefix("aten.").removesuffix(".default"))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("ssm", ["s6", "ssd"])
def test_every_operator_of_mamba_has_a_kernel_on_apple_gpus(ssm):
    """Checked against torch's own list, so that it needs no Mac."""
    torchgen = Path(importlib.util.find_spec("torchgen").submodule_search_locations[0])
    listing = (torchgen / "packaged/ATen/native/native_functions.yaml").read_text()
    entries = {}
    for entry in listing.split("\n- func: ")[1:]:
        entries[entry.split("(")[0]] = entry
    model, x = MusicMamba(ssm=ssm), random_frames(2, 70)
    with Recorder() as recorder:
        logits, hidden = model(x)
        F.binary_cross_entropy_with_logits(logits, x).backward()
        with torch.no_grad():
            model(x[:, :1], hidden)
    missing = []
    for name in sorted(recorder.names):
        delegate = re.search(r"structured_delegate: (\S+)", entries[name])
        entry = entries[delegate[1]] if delegate else entries[name]
        if "dispatch:" in entry and "MPS" not in entry and "Composite" not in entry:
            missing.append(name)
    assert len(recorder.names) > 20 and not missing


def test_the_convolution_is_that_of_torch_and_its_gradients_written_by_hand_are_right():
    conv = CausalConv(5, 4).double()
    x, before = torch.randn(2, 7, 5).double().requires_grad_(), torch.randn(2, 3, 5).double().requires_grad_()
    by_torch = F.conv1d(torch.cat([before, x], 1).mT, conv.weight.T.unsqueeze(1), conv.bias, groups=5).mT
    torch.testing.assert_close(conv(x, before)[0], by_torch)
    assert torch.autograd.gradcheck(
        lambda x, before, weight, bias: torch.func.functional_call(conv, {"weight": weight, "bias": bias}, (x, before)),
        (x, before, conv.weight, conv.bias),
    )


class MusicGRU(FrameModel):
    """A reader's own model, as the docstring of `FrameModel` has it."""

    def __init__(self, num_pitches=88, width=16, head="keys", velocity=0):
        super().__init__(width, num_pitches=num_pitches, head=head, velocity=velocity, width=width)
        self.gru = nn.GRU(num_pitches, width, batch_first=True)

    def features(self, x, hidden=None):
        return self.gru(x, hidden)


def test_a_model_of_ones_own_is_checked_and_continues_like_ours():
    model, x = MusicGRU(head="chords", velocity=32).eval(), random_frames(2, 10)
    whole, last = model(x)
    first, hidden = model(x[:, :4])
    second, hidden = model(x[:, 4:], hidden)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(hidden, last)
    assert model.config == {"num_pitches": 88, "width": 16, "head": "chords", "velocity": 32}
    with pytest.raises(ValueError, match=r"expected \(B, T, 88\)"):
        model(x[..., :87])
    with pytest.raises(NotImplementedError, match="docstring of FrameModel"):
        FrameModel(16)(x)


def test_heads_are_arguments_and_take_no_part_where_they_are_not_asked_for(model):
    assert model.chords is None and model.velocity is None
    assert (model.config["head"], model.config["velocity"]) == ("keys", 0)
    both = type(model)(**{**model.config, "head": "chords", "velocity": 32})
    assert both.chords.output.out_features == 88 and both.velocity.bins == 32
    assert type(both)(**both.config).state_dict().keys() == both.state_dict().keys()
    assert both.state_dict().keys() > model.state_dict().keys()
    with pytest.raises(TypeError, match="heads"):  # a misspelt argument is not swallowed
        type(model)(heads="chords")


def test_weights_are_float32_copies_under_the_names_of_the_checkpoint(model):
    weights, config = model.half().weights()
    assert config == {**model.config, "model": type(model).__name__}
    assert weights.keys() == model.state_dict().keys()
    for name, weight in model.state_dict().items():
        assert weights[name].dtype == "float32" and (weights[name] == weight.float().numpy()).all()
    model.float()
    weights, _ = model.weights()
    before = weights["output.bias"].copy()
    model.output.bias.data += 1
    assert (weights["output.bias"] == before).all()
