"""All forms of the scan are one function, and they survive what training may do to Δ."""

import pytest
import torch
import torch.nn.functional as F

from midigen_utils.models.fast_scan import selective_scan, ssd_scan
from midigen_utils.models.mamba import S6Block
from midigen_utils.models.scan import scan_loop, scan_step, scan_textbook, ssd_step

HEADS, WIDTH = 2, 4


def random_inputs(batch, length, channels, states, shift=-2.0, seed=0):
    """x, Δ, A, B, C, h in float64; Δ is about softplus(shift)."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    dt = F.softplus(normal(batch, length, channels) + shift)
    A = -torch.arange(1.0, states + 1, dtype=torch.float64).unsqueeze(1).expand(states, channels).contiguous()
    return [
        normal(batch, length, channels),
        dt,
        A,
        normal(batch, length, states),
        normal(batch, length, states),
        normal(batch, states, channels),
    ]


def ssd_inputs(batch, length, states, shift=-2.0):
    """x, Δ, A, B, C, h of the form with one decay per head, in float64."""
    x, dt, _, B, C, h = random_inputs(batch, length, HEADS * WIDTH, states, shift)
    A = -torch.linspace(1, 8, HEADS, dtype=torch.float64)
    h = h.view(batch, states, HEADS, WIDTH).transpose(1, 2).contiguous()  # (B, H, N, P)
    return [x.view(batch, length, HEADS, WIDTH), dt[..., :HEADS].contiguous(), A, B, C, h]


def ssd_by_textbook(x, dt, A, B, C, h=None):
    """What `ssd_scan` computes, by the textbook loop: the decay of a head repeated for its channels."""
    batch, length = x.shape[:2]
    states = B.shape[2]
    A = A.repeat_interleave(WIDTH).expand(states, -1)
    h = None if h is None else h.transpose(1, 2).reshape(batch, states, HEADS * WIDTH)
    y, h = scan_textbook(x.flatten(2), dt.repeat_interleave(WIDTH, dim=2), A, B, C, h)
    return y.view(batch, length, HEADS, WIDTH), h.view(batch, states, HEADS, WIDTH).transpose(1, 2)


def values_and_gradients(function, inputs):
    """y, the last state, and the gradient of a weighted sum of both for every input."""
    inputs = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    y, h = function(*inputs)
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    loss = (y * weights).sum() + (h * h).sum()
    return [y.detach(), h.detach(), *torch.autograd.grad(loss, inputs)]


def assert_equal(results, reference, tolerance):
    """Largest error of each tensor, relative to its largest value."""
    for name, ours, right in zip("y h dx dΔ dA dB dC dh".split(), results, reference, strict=False):
        assert torch.isfinite(ours).all(), name
        scale = right.abs().max().item() or 1.0  # a fresh state has no part in dA of one frame
        error = (ours.double() - right).abs().max() / scale
        assert error < tolerance, f"{name} is off by {error:.1e}"


@pytest.mark.parametrize("shift", [-4.0, 1.0], ids=["slow", "fast"])
@pytest.mark.parametrize("state", [True, False], ids=["state", "fresh"])
@pytest.mark.parametrize("length", [1, 2, 63, 64, 65])
def test_all_forms_equal_the_float64_textbook_loop(length, state, shift):
    for inputs, textbook, forms in (
        (random_inputs(3, length, 8, 4, shift), scan_textbook, (scan_loop, selective_scan)),
        (ssd_inputs(3, length, 5, shift), ssd_by_textbook, (ssd_scan,)),
    ):
        inputs = inputs if state else inputs[:-1]
        reference = values_and_gradients(textbook, inputs)
        for form in forms:
            assert_equal(values_and_gradients(form, inputs), reference, 1e-12)
            assert_equal(values_and_gradients(form, [tensor.float() for tensor in inputs]), reference, 1e-5)


@pytest.mark.parametrize("length", [1000, 4096])
def test_long_sequences_equal_the_float64_textbook_loop(length):
    for inputs, textbook, forms in (
        (random_inputs(1, length, 8, 4), scan_textbook, (scan_loop, selective_scan)),
        (ssd_inputs(1, length, 4), ssd_by_textbook, (ssd_scan,)),
    ):
        reference = values_and_gradients(textbook, inputs)
        for form in forms:
            assert_equal(values_and_gradients(form, [tensor.float() for tensor in inputs]), reference, 1e-5)


@pytest.mark.parametrize("slab", [(1, 1), (2, 3), (3, 7), (2, 100)])
def test_the_slab_size_changes_nothing(monkeypatch, slab):
    inputs = random_inputs(3, 20, 8, 4)
    monkeypatch.setattr("midigen_utils.models.fast_scan._slab_shape", lambda x, A: slab)
    assert_equal(values_and_gradients(selective_scan, inputs), values_and_gradients(scan_textbook, inputs), 1e-12)


@pytest.mark.parametrize("chunk", [1, 5, 16, 64])
def test_the_chunk_size_changes_nothing(chunk):
    inputs = ssd_inputs(2, 33, 5)
    results = values_and_gradients(lambda *args: ssd_scan(*args, chunk=chunk), inputs)
    assert_equal(results, values_and_gradients(ssd_by_textbook, inputs), 1e-12)


def test_gradcheck():
    for form in (selective_scan, scan_loop):
        inputs = [tensor.requires_grad_() for tensor in random_inputs(2, 5, 3, 2)]
        assert torch.autograd.gradcheck(form, inputs)
    inputs = [tensor.requires_grad_() for tensor in ssd_inputs(2, 5, 3)]
    assert torch.autograd.gradcheck(lambda *args: ssd_scan(*args, chunk=2), inputs)


@pytest.mark.parametrize("cut", [1, 20, 64])
def test_the_state_continues_where_the_last_call_stopped(cut):
    for inputs, form in (
        (random_inputs(2, 65, 8, 4), scan_textbook),
        (random_inputs(2, 65, 8, 4), scan_loop),
        (random_inputs(2, 65, 8, 4), selective_scan),
        (ssd_inputs(2, 65, 5), ssd_scan),
    ):
        x, dt, A, B, C, h = inputs
        whole, last = form(x, dt, A, B, C, h)
        before = h.clone()
        first, middle = form(x[:, :cut], dt[:, :cut], A, B[:, :cut], C[:, :cut], h)
        second, end = form(x[:, cut:], dt[:, cut:], A, B[:, cut:], C[:, cut:], middle)
        torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
        torch.testing.assert_close(end, last)
        assert torch.equal(h, before), f"{form.__name__} changed the state it was given"


def test_steps_equal_the_whole_and_leave_the_state_they_were_given():
    for inputs, form, step in (
        (random_inputs(2, 10, 8, 4), scan_textbook, scan_step),
        (ssd_inputs(2, 10, 5), ssd_scan, ssd_step),
    ):
        x, dt, A, B, C, h = inputs
        whole, last = form(*inputs)
        for t in range(10):
            before = h.clone()
            y, new = step(x[:, t], dt[:, t], A, B[:, t], C[:, t], h)
            assert torch.equal(h, before)
            h = new
            torch.testing.assert_close(y, whole[:, t])
        torch.testing.assert_close(h, last)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_are_computed_in_float32(dtype):
    for inputs, textbook, form in (
        (random_inputs(2, 100, 8, 4), scan_textbook, selective_scan),
        (ssd_inputs(2, 100, 5), ssd_by_textbook, ssd_scan),
    ):
        half = [tensor.to(dtype) if i in (0, 3, 4) else tensor.float() for i, tensor in enumerate(inputs)]
        rounded = [tensor.double() for tensor in half]  # the inputs' own rounding is not the scan's
        with torch.autocast("cpu", dtype=dtype):
            results = values_and_gradients(form, half)
        assert results[0].dtype == results[1].dtype == torch.float32
        reference = values_and_gradients(textbook, rounded)
        assert_equal(results[:2], reference[:2], 1e-5)
        bound = 2 * torch.finfo(dtype).eps  # gradients of half inputs come back in half
        assert_equal(results, reference, bound)


@pytest.mark.parametrize("dt", [0.0, 1e-8, 1e-3, 1.0, 50.0, 1e4])
def test_extreme_step_sizes_give_finite_values_and_gradients(dt):
    for inputs, textbook, form in (
        (random_inputs(2, 130, 8, 4), scan_textbook, selective_scan),
        (ssd_inputs(2, 130, 5), ssd_by_textbook, ssd_scan),
    ):
        inputs[1] = torch.full_like(inputs[1], dt)
        results = values_and_gradients(form, [tensor.float() for tensor in inputs])
        assert all(torch.isfinite(tensor).all() for tensor in results)
        assert_equal(results[:2], values_and_gradients(textbook, inputs)[:2], 1e-5)


def test_ssd_is_exact_among_frames_that_forget_everything():
    """Its decays are differences of sums, and such frames make the sums large."""
    inputs = ssd_inputs(2, 130, 5)
    inputs[1][:, ::7] *= 1e4
    x, dt, A, B, C, h = (tensor.float() for tensor in inputs)
    assert_equal(ssd_scan(x, dt, A, B, C, h), ssd_by_textbook(*inputs), 1e-6)


def test_a_step_size_of_zero_leaves_the_state_and_a_large_one_forgets_it():
    x, dt, A, B, C, h = random_inputs(1, 3, 8, 4)
    assert torch.equal(selective_scan(x, dt * 0, A, B, C, h)[1], h)
    large = torch.full_like(dt, 1e3)
    torch.testing.assert_close(selective_scan(x, large, A, B, C, h), selective_scan(x, large, A, B, C))


def test_block_equals_that_of_mambapy():
    mambapy = pytest.importorskip("mambapy.mamba")
    torch.manual_seed(0)
    peer = mambapy.ResidualBlock(mambapy.MambaConfig(d_model=64, n_layers=1))
    ours = S6Block(d_model=64, d_state=16, d_conv=4, expand=2)
    theirs = peer.mixer
    with torch.no_grad():
        theirs.A_log += 0.3 * torch.randn_like(theirs.A_log)  # so that a wrong layout shows
        theirs.D += torch.randn_like(theirs.D)
        peer.norm.weight += 0.3 * torch.randn_like(peer.norm.weight)
        ours.norm.weight.copy_(peer.norm.weight)
        ours.conv.weight.copy_(theirs.conv1d.weight[:, 0].T)
        ours.conv.bias.copy_(theirs.conv1d.bias)
        ours.A_log.copy_(theirs.A_log.T)
        ours.D.copy_(theirs.D)
        for name in ("in_proj", "x_proj", "dt_proj", "out_proj"):
            getattr(ours, name).load_state_dict(getattr(theirs, name).state_dict())

    x = torch.randn(2, 50, 64)
    results = []
    for run in (lambda stream: stream + ours(stream, (None, None))[0], peer):
        stream = x.clone().requires_grad_()
        y = run(stream)
        (y * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum().backward()
        results.append((y.detach(), stream.grad))
    for left, right in zip(*results, strict=True):
        assert (left - right).abs().max() < 1e-5 * right.abs().max()
    left, right = ours.A_log.grad, theirs.A_log.grad.T
    assert (left - right).abs().max() < 1e-5 * right.abs().max()

    cache, state = (None, torch.zeros(2, 128, 3)), (torch.zeros(2, 3, 128), torch.zeros(2, 16, 128))
    with torch.no_grad():
        for t in range(20):
            right, cache = peer.step(x[:, t], cache)
            change, state = ours(x[:, t], state)
            torch.testing.assert_close(x[:, t] + change, right, rtol=1e-5, atol=1e-5)
