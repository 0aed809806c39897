"""Functions that do what layers without weights do: attention, resizing, pooling, distances, patches."""

from dataclasses import replace
from typing import Any, Final

from expc.compiler.dimensions import Size
from expc.compiler.ops import distance, normalization, pooling, resizing, shaping
from expc.compiler.ops.arguments import (
    floated,
    function,
    need_dtype,
    need_floating,
    need_rank,
    need_same_dtype,
    optional_tensor,
    tensor,
    whole_quotient,
)
from expc.compiler.ops.broadcast import broadcast
from expc.compiler.ops.declare import Call, Operator, Param, ShapeRule
from expc.compiler.ops.kinds import (
    BOOL,
    FLOAT,
    POSITIVE,
    PROBABILITY,
    choice,
    integer,
    list_of,
    number,
    optional,
    sizes,
)
from expc.compiler.ops.resizing import resized
from expc.compiler.ops.rules import EXAMPLES, FORMS, INPUT, SIDES, Window, expect_rank, fit, product, refuse, spread
from expc.compiler.types import DTYPES, FLOATING, TensorType, result_dtype


def _attention(call: Call) -> TensorType:
    query, key, value, mask = call.tensor("query"), call.tensor("key"), call.tensor("value"), call["attn_mask"]
    need_floating(call, query, key, value)
    need_same_dtype(call, query, key, value)
    for type_ in (query, key, value):
        if type_.rank < 2:
            need_rank(call, type_, (), "tensors of at least 2 dimensions [..., tokens, features]")
    call.require_equal(query.dims[-1], key.dims[-1], "the last dimension of key, as that of query,")
    call.require_equal(key.dims[-2], value.dims[-2], "the number of tokens of value, as of key,")
    scores = (query.dims[-2], key.dims[-2])
    if call["enable_gqa"]:
        batch = _grouped(call, query, key, value)
    else:
        batch = broadcast(call, *(type_.with_dims(*type_.dims[:-2]) for type_ in (query, key, value)))
    if isinstance(mask, TensorType):
        if call["is_causal"]:
            refuse(call, "takes attn_mask or is_causal, not both")
        need_dtype(call, mask, frozenset({"bool", "f32", query.dtype}), f"a mask of booleans or {query.dtype}")
        _fits(call, mask, (*batch, *scores))
    return TensorType(query.dtype, (*batch, query.dims[-2], value.dims[-1]))


def _grouped(call: Call, query: TensorType, key: TensorType, value: TensorType) -> tuple[Size, ...]:
    for type_ in (query, key, value):
        if type_.rank < 3:
            need_rank(call, type_, (), "tensors of at least 3 dimensions [..., heads, tokens, features] for enable_gqa")
    for name, type_ in (("key", key), ("value", value)):
        call.require_divisible(query.dims[-3], type_.dims[-3], f"the number of heads of query, for those of {name},")
    batch = broadcast(call, *(type_.with_dims(*type_.dims[:-3]) for type_ in (query, key, value)))
    return (*batch, query.dims[-3])


def _fits(call: Call, mask: TensorType, wanted: tuple[Size, ...]) -> None:
    if not 2 <= mask.rank <= len(wanted):
        need_rank(call, mask, (), f"a mask of 2 to {len(wanted)} dimensions [..., tokens of query, tokens of key]")
    for at in range(-mask.rank, 0):
        if not (isinstance(mask.dims[at], int) and mask.dims[at] == 1):
            call.require_equal(wanted[at], mask.dims[at], f"dimension {at} of attn_mask")


def _attention_macs(call: Call, result: Any) -> Size:
    query, key = call.tensor("query"), call.tensor("key")
    features: Size = query.dims[-1] + result.dims[-1]
    return product((*result.dims[:-1], key.dims[-2])) * features


def _build_attention(torch: Any, v: dict[str, Any]) -> Any:
    dropped = {"dropout_p": v["dropout_p"] if v["training"] else 0.0} if v["dropout_p"] else {}
    plain = {"attn_mask": None, "is_causal": False, "scale": None, "enable_gqa": False}
    named = {name: v[name] for name, default in plain.items() if v[name] is not default}
    return torch.nn.functional.scaled_dot_product_attention(v["query"], v["key"], v["value"], **dropped, **named)


# ---------------------------------------------------------------------------------------------------- as layers


def _interpolate(call: Call) -> TensorType:
    if call["antialias"] and call["mode"] not in ("bilinear", "bicubic"):
        refuse(call, 'antialias=true is for the modes "bilinear" and "bicubic"')
    return resized(call, call.tensor())


def _of_layer(layer: Operator, name: str, *order: str, doc: str = "", shape: ShapeRule | None = None) -> Operator:
    """The function that does what a layer without weights does; `order` is that of its settings, if another."""
    settings = {param.name: param for param in layer.settings}
    arguments = (*layer.arguments, *(settings[key] for key in order or settings))
    example = layer.example.replace(layer.name, name)
    more = {"home": "torch.nn.functional", "mode": layer.mode, "random": layer.random}
    return function(
        name, doc or layer.doc, arguments, shape or layer.shape, example, dict(layer.example_inputs), **more
    )


def _pools() -> tuple[Operator, ...]:
    layers = {layer.name: layer for layer in pooling.OPERATORS}
    window = ("kernel_size", "stride", "padding")
    largest = (*window, "dilation", "ceil_mode", "return_indices")
    return (
        *(_of_layer(layers[f"MaxPool{n}d"], f"max_pool{n}d", *largest) for n in (1, 2, 3)),
        *(_of_layer(layers[f"AvgPool{n}d"], f"avg_pool{n}d") for n in (1, 2, 3)),
        *(_of_layer(layers[f"AdaptiveAvgPool{n}d"], f"adaptive_avg_pool{n}d") for n in (1, 2, 3)),
        *(_of_layer(layers[f"AdaptiveMaxPool{n}d"], f"adaptive_max_pool{n}d") for n in (1, 2, 3)),
        *(_of_layer(layers[f"LPPool{n}d"], f"lp_pool{n}d") for n in (1, 2, 3)),
        *(_fractional(layers[f"FractionalMaxPool{n}d"], n) for n in (2, 3)),
        *(_unpool(layers[f"MaxUnpool{n}d"], f"max_unpool{n}d") for n in (1, 2, 3)),
    )


def _fractional(layer: Operator, count: int) -> Operator:
    """Over two dimensions torch's function, unlike its class, takes the ratio only as a list."""
    made = _of_layer(layer, f"fractional_max_pool{count}d")
    if count == 3:
        return made
    listed = optional(list_of(number(0.0, 1.0), 2))
    arguments = (replace(p, kind=listed) if p.name == "output_ratio" else p for p in made.arguments)
    return replace(made, arguments=tuple(arguments))


def _unpool(layer: Operator, name: str) -> Operator:
    """Here the size wanted is the last argument."""
    made = _of_layer(layer, name)
    (size,) = (param for param in made.arguments if param.name == "output_size")
    return replace(made, arguments=(*(param for param in made.arguments if param is not size), size))


def _shuffles() -> tuple[Operator, ...]:
    layers = {layer.name: layer for layer in (*shaping.OPERATORS, *distance.OPERATORS, *normalization.OPERATORS)}
    names = {
        "PixelShuffle": "pixel_shuffle",
        "PixelUnshuffle": "pixel_unshuffle",
        "ChannelShuffle": "channel_shuffle",
        "CosineSimilarity": "cosine_similarity",
        "LocalResponseNorm": "local_response_norm",
    }
    pairwise = _of_layer(layers["PairwiseDistance"], "pairwise_distance", shape=_pairwise)
    return (*(_of_layer(layers[layer], name) for layer, name in names.items()), pairwise)


def _pairwise(call: Call) -> TensorType:
    both = (call.tensor("x1"), call.tensor("x2"))
    for type_ in both:
        need_dtype(call, type_, DTYPES - {"bool"}, "numbers, not booleans")
    dims = broadcast(call, *both)
    dtype = floated(result_dtype([(type_.dtype, type_.rank) for type_ in both]))
    return TensorType(dtype, (*dims[:-1], 1) if call["keepdim"] and dims else dims[:-1])


# ---------------------------------------------------------------------------------------------------- patches


def _one_hot(call: Call) -> TensorType:
    """The number of classes is a matter of the type, so that the result's size is known."""
    x = call.tensor("tensor")
    need_dtype(call, x, frozenset({"i64"}), "class indices (i64)")
    written = call["num_classes"]
    if not (isinstance(written, int) and written == -1):
        call.require_at_least(written, 1 if x.classes is None else x.classes, "num_classes")
    elif x.classes is None:
        refuse(call, f"num_classes must be written: the type {x} does not say how many there are")
    else:
        call.values["num_classes"] = x.classes
    return TensorType("i64", (*x.dims, call["num_classes"]))


def _patches(call: Call, height: Size, width: Size) -> tuple[Size, Size]:
    """How many elements a patch of an image has, and how many patches there are."""
    names = ("kernel_size", "stride", "padding", "dilation")
    each = zip(SIDES[2], *(spread(call[name], 2) for name in names), strict=True)
    down, across = (Window(*side) for side in each)
    return down.kernel * across.kernel, fit(call, height, down) * fit(call, width, across)


def _unfold(call: Call) -> TensorType:
    x = call.tensor()
    expect_rank(call, x, FORMS[2])
    need_dtype(call, x, FLOATING | {"bool"}, "floating-point tensors")
    elements, patches = _patches(call, x.dims[2], x.dims[3])
    return TensorType(x.dtype, (x.dims[0], x.dims[1] * elements, patches))


def _fold(call: Call) -> TensorType:
    x = call.tensor()
    expect_rank(call, x, "N, C * elements of a patch, patches")
    need_dtype(call, x, FLOATING | {"bool"}, "floating-point tensors")
    height, width = spread(call["output_size"], 2)
    elements, patches = _patches(call, height, width)
    call.require_equal(patches, x.dims[2], "the number of patches")
    return TensorType(x.dtype, (x.dims[0], whole_quotient(call, x.dims[1], elements, "dimension 1"), height, width))


def _grid_sample(call: Call) -> TensorType:
    x, grid = call.tensor(), call.tensor("grid")
    expect_rank(call, x, FORMS[2], FORMS[3])
    count = x.rank - 2
    need_floating(call, x, grid)
    need_same_dtype(call, x, grid)
    need_rank(call, grid, (x.rank,), f"a grid of as many dimensions as {x}")
    call.require_equal(x.dims[0], grid.dims[0], "the batch of the grid")
    call.require_equal(count, grid.dims[-1], "the last dimension of the grid, its coordinates,")
    if call["mode"] == "bicubic" and count == 3:
        refuse(call, 'mode="bicubic" is for images [N, C, H, W]')
    return TensorType(x.dtype, (*x.dims[:2], *grid.dims[1:-1]))


def _affine_grid(call: Call) -> TensorType:
    theta, size = call.tensor("theta"), call["size"]
    need_floating(call, theta)
    if len(size) not in (4, 5):
        refuse(call, f"size must be [N, C, H, W] or [N, C, D, H, W], but has {len(size)} sizes")
    count = len(size) - 2
    expect_rank(call, theta, "N, coordinates, coordinates + 1")
    for at, wanted in enumerate((size[0], count, count + 1)):
        call.require_equal(wanted, theta.dims[at], f"dimension {at} of theta")
    return TensorType(theta.dtype, (size[0], *size[2:], count))


_UPSAMPLE: Final = resizing.OPERATORS[0]
_SIDES: Final = sizes(2, 1)
_SLIDING: Final = (
    Param("kernel_size", _SIDES),
    Param("dilation", _SIDES, 1),
    Param("padding", sizes(2, 0), 0),
    Param("stride", _SIDES, 1),
)
_ALIGNED: Final = Param("align_corners", optional(BOOL), None)

OPERATORS: Final = (
    function(
        "scaled_dot_product_attention",
        "Values weighted by how well their keys meet each query.",
        (
            tensor("query"),
            tensor("key"),
            tensor("value"),
            optional_tensor("attn_mask"),
            Param("dropout_p", PROBABILITY, 0.0),
            Param("is_causal", BOOL, False),
            Param("scale", optional(FLOAT), None, by_name=True),
            Param("enable_gqa", BOOL, False, by_name=True),
        ),
        _attention,
        "scaled_dot_product_attention(q, k, v, is_causal=true)",
        {"q": "f32[N, 4, T, 16]", "k": "f32[N, 4, T, 16]", "v": "f32[N, 4, T, 16]"},
        home="torch.nn.functional",
        build=_build_attention,
        macs=_attention_macs,
        random=True,
        mode=True,
    ),
    function(
        "interpolate",
        "The input at another size, or larger by a factor.",
        (
            INPUT,
            *_UPSAMPLE.settings,
            Param("antialias", BOOL, False),
        ),
        _interpolate,
        "x -> interpolate(scale_factor=2)",
        dict(EXAMPLES[2]),
        home="torch.nn.functional",
    ),
    *_pools(),
    *_shuffles(),
    function(
        "one_hot",
        "Class indices as vectors of zeros with a one.",
        (tensor("tensor"), Param("num_classes", integer(-1), -1)),
        _one_hot,
        "x -> one_hot",
        {"x": "class(10)[N]"},
        home="torch.nn.functional",
    ),
    function(
        "unfold",
        "The patches of images that a window sees as it slides, each a column.",
        (INPUT, *_SLIDING),
        _unfold,
        "x -> unfold(2)",
        dict(EXAMPLES[2]),
        home="torch.nn.functional",
    ),
    function(
        "fold",
        "Images put together from patches, which add up where they overlap.",
        (INPUT, Param("output_size", _SIDES), *_SLIDING),
        _fold,
        "x -> fold([4, 4], 2)",
        {"x": "f32[N, 12, 9]"},
        home="torch.nn.functional",
    ),
    function(
        "grid_sample",
        "The input at the positions of a grid, from -1 to 1.",
        (
            INPUT,
            tensor("grid"),
            Param("mode", choice("bilinear", "nearest", "bicubic"), "bilinear"),
            Param("padding_mode", choice("zeros", "border", "reflection"), "zeros"),
            _ALIGNED,
        ),
        _grid_sample,
        "x -> grid_sample(g, align_corners=false)",
        {**EXAMPLES[2], "g": "f32[N, 8, 8, 2]"},
        home="torch.nn.functional",
    ),
    function(
        "affine_grid",
        "The grid for grid_sample that affine maps describe.",
        (tensor("theta"), Param("size", list_of(POSITIVE)), _ALIGNED),
        _affine_grid,
        "x -> affine_grid([N, 3, 8, 8], align_corners=false)",
        {"x": "f32[N, 2, 3]"},
        home="torch.nn.functional",
    ),
)
