"""The functions of `torch` and `torch.nn.functional` that the language leaves out, each with its reason.

A reason is a sentence: it stands in the message for a name that is not known, and in the reference.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_GROUPS: Final = (
    (
        "It changes its input in place, and values of the language never change: write the function without `_`.",
        """abs_ acos_ acosh_ addmv_ alpha_dropout_ arccos_ arccosh_ arcsin_ arcsinh_ arctan_ arctanh_ as_strided_ asin_
        asinh_ atan_ atanh_ ceil_ celu_ clamp_ clamp_max_ clamp_min_ clip_ conj_physical_ cos_ cosh_ deg2rad_ detach_
        dropout_ elu_ embedding_renorm_ erf_ erfc_ exp2_ exp_ expm1_ feature_alpha_dropout_ feature_dropout_ fill_ fix_
        floor_ frac_ gcd_ hardtanh_ i0_ index_put_ lcm_ ldexp_ leaky_relu_ log10_ log1p_ log2_ log_ logit_ nan_to_num_
        neg_ negative_ rad2deg_ reciprocal_ relu_ resize_as_ resize_as_sparse_ round_ rrelu_ rsqrt_ selu_ sigmoid_ sin_
        sinc_ sinh_ sqrt_ square_ tan_ tanh_ threshold_ trunc_ xlogy_ zero_""",
    ),
    (
        "The size of its result depends on the values in its input, and types are known before a run.",
        """argwhere bincount masked_select nonzero unique unique_consecutive""",
    ),
    (
        "Its result is no tensor but a Python value that depends on the values in a tensor.",
        """allclose equal is_nonzero""",
    ),
    (
        "It asks about a tensor and gives no tensor: the type of every value is known to the checker.",
        """broadcast_shapes can_cast get_device is_complex is_conj is_distributed is_floating_point is_inference is_neg
        is_same_size is_signed is_storage is_tensor numel promote_types result_type typename""",
    ),
    (
        "Complex numbers are not in the language.",
        """complex conj conj_physical imag istft polar real resolve_conj resolve_neg stft view_as_complex
        view_as_complex_copy view_as_real view_as_real_copy""",
    ),
    (
        "Sparse tensors are not in the language.",
        """ccol_indices_copy col_indices_copy crow_indices_copy dsmm hsmm hspmm indices_copy row_indices_copy saddmm smm
        sparse_bsc_tensor sparse_bsr_tensor sparse_compressed_tensor sparse_coo_tensor sparse_csc_tensor
        sparse_csr_tensor spmm sspaddmm values_copy""",
    ),
    (
        "Quantized tensors are not in the language.",
        """choose_qparams_optimized dequantize empty_quantized fake_quantize_per_channel_affine
        fake_quantize_per_tensor_affine fbgemm_linear_fp16_weight fbgemm_linear_fp16_weight_fp32_activation
        fbgemm_linear_int8_weight fbgemm_linear_int8_weight_fp32_activation fbgemm_linear_quantize_weight
        fbgemm_pack_gemm_matrix_fp16 fbgemm_pack_quantized_matrix fused_moving_avg_obs_fake_quant int_repr
        q_per_channel_axis q_per_channel_scales q_per_channel_zero_points q_scale q_zero_point quantize_per_channel
        quantize_per_tensor quantize_per_tensor_dynamic quantized_batch_norm quantized_gru quantized_gru_cell
        quantized_lstm quantized_lstm_cell quantized_max_pool1d quantized_max_pool2d quantized_max_pool3d
        quantized_rnn_relu_cell quantized_rnn_tanh_cell""",
    ),
    (
        "The 8-bit number formats that it multiplies are not in the language.",
        """scaled_grouped_mm scaled_mm""",
    ),
    (
        "It multiplies on a few kinds of GPU only: write bmm or matmul.",
        """grouped_mm""",
    ),
    (
        "It works on how a tensor lies in memory, which types do not say: write reshape, expand, narrow or select.",
        """as_strided as_strided_copy as_strided_scatter empty_permuted empty_strided""",
    ),
    (
        "Its result holds whatever lay in memory: write zeros or zeros_like.",
        """empty empty_like""",
    ),
    (
        "It makes a tensor from Python's data or a file, which no expression of the language is: write tensor([...]).",
        """as_tensor asarray from_dlpack from_file from_numpy frombuffer scalar_tensor to_dlpack""",
    ),
    (
        "It reads or writes files: runs save checkpoints by themselves, and `init` names one to start from.",
        """load save""",
    ),
    (
        "It is a step of torch's own between a function and its kernels: write the function without `_copy`.",
        """alias_copy detach_copy diagonal_copy expand_copy narrow_copy permute_copy select_copy slice_copy split_copy
        split_with_sizes_copy squeeze_copy t_copy transpose_copy unbind_copy unfold_copy unsqueeze_copy view_copy""",
    ),
    (
        "It is a step of torch's own between a layer and its kernels, not documented: write the layer or its function.",
        """affine_grid_generator batch_norm_backward_elemt batch_norm_backward_reduce batch_norm_elemt
        batch_norm_gather_stats batch_norm_gather_stats_with_counts batch_norm_stats batch_norm_update_stats convolution
        constant_pad_nd cudnn_affine_grid_generator cudnn_batch_norm cudnn_convolution cudnn_convolution_add_relu
        cudnn_convolution_relu cudnn_convolution_transpose cudnn_grid_sampler cudnn_is_acceptable feature_dropout
        grid_sampler grid_sampler_2d grid_sampler_3d gru gru_cell lstm lstm_cell miopen_batch_norm miopen_convolution
        miopen_convolution_add_relu miopen_convolution_relu miopen_convolution_transpose miopen_ctc_loss
        miopen_depthwise_convolution miopen_rnn mkldnn_adaptive_avg_pool2d mkldnn_convolution
        mkldnn_linear_backward_weights mkldnn_max_pool2d mkldnn_max_pool3d mkldnn_rnn_layer native_batch_norm
        native_channel_shuffle native_dropout native_group_norm native_layer_norm native_norm norm_except_dim rnn_relu
        rnn_relu_cell rnn_tanh rnn_tanh_cell slice_inverse hash_tensor""",
    ),
    (
        "It is MultiheadAttention with every weight apart: write that layer, or scaled_dot_product_attention.",
        """multi_head_attention_forward""",
    ),
    (
        "It is not documented: write the function without `_with_indices`, with return_indices=true.",
        """adaptive_max_pool1d_with_indices adaptive_max_pool2d_with_indices adaptive_max_pool3d_with_indices
        fractional_max_pool2d_with_indices fractional_max_pool3d_with_indices max_pool1d_with_indices
        max_pool2d_with_indices max_pool3d_with_indices""",
    ),
    (
        "It is chunk or split without the checks of autograd: write those.",
        """unsafe_chunk unsafe_split unsafe_split_with_sizes""",
    ),
    ("Torch calls it deprecated: write interpolate.", """upsample upsample_bilinear upsample_nearest"""),
    ("Torch calls it deprecated: write arange, whose end is not included.", """range"""),
    ("Torch calls it deprecated: write matmul for each product.", """chain_matmul"""),
    ("It is linear and cross_entropy in one step, to save memory: write those.", """linear_cross_entropy"""),
    ("Torch calls it deprecated: write norm.", """frobenius_norm nuclear_norm"""),
    (
        "Torch calls it deprecated for a function of torch.linalg, and that namespace is not in the language.",
        """cholesky lu lu_solve qr svd triangular_solve""",
    ),
    (
        "Torch has removed it for a function of torch.linalg: calling it fails.",
        """eig lstsq matrix_rank solve symeig""",
    ),
    (
        "It works on the factors of a matrix, which torch.linalg computes, and that namespace is not in the language.",
        """cholesky_inverse cholesky_solve geqrf lu_unpack orgqr ormqr""",
    ),
    (
        "It finds its result by iterating from random numbers, and its factors belong to torch.linalg.",
        """lobpcg pca_lowrank svd_lowrank""",
    ),
    (
        "Torch calls it a prototype, or does not document it yet: it may change.",
        """index_reduce nonzero_static segment_reduce""",
    ),
    ("Not every device and no automatic differentiation has it: write histc.", """histogram histogramdd"""),
    (
        "It takes Python functions: the language's own are blocks, `repeat`, `if` at compile time and `where`.",
        """cond vmap while_loop triplet_margin_with_distance_loss boolean_dispatch""",
    ),
    (
        "It compiles a model: say `compile` in `train`.",
        """compile""",
    ),
    (
        "It sets or reads the state of random numbers, which follows from the seed of the experiment.",
        """get_rng_state initial_seed manual_seed seed set_rng_state thread_safe_generator""",
    ),
    (
        "It sets or reads how torch runs, which the experiment's settings do.",
        """are_deterministic_algorithms_enabled autocast_decrement_nesting autocast_increment_nesting
        clear_autocast_cache compiled_with_cxx11_abi get_autocast_cpu_dtype get_autocast_dtype get_autocast_gpu_dtype
        get_autocast_ipu_dtype get_autocast_xla_dtype get_default_device get_default_dtype get_deterministic_debug_mode
        get_device_module get_file_path get_float32_matmul_precision get_num_interop_threads get_num_threads
        init_num_threads is_anomaly_check_nan_enabled is_anomaly_enabled is_autocast_cache_enabled
        is_autocast_cpu_enabled is_autocast_enabled is_autocast_ipu_enabled is_autocast_xla_enabled
        is_deterministic_algorithms_warn_only_enabled is_grad_enabled is_inference_mode_enabled is_vulkan_available
        is_warn_always_enabled prepare_multiprocessing_environment
        profiler_allow_cudagraph_cupti_lazy_reinit_cuda12 set_anomaly_enabled set_autocast_cache_enabled
        set_autocast_cpu_dtype set_autocast_cpu_enabled set_autocast_dtype set_autocast_enabled set_autocast_gpu_dtype
        set_autocast_ipu_dtype set_autocast_ipu_enabled set_autocast_xla_dtype set_autocast_xla_enabled
        set_default_device set_default_dtype set_default_tensor_type set_deterministic_debug_mode set_flush_denormal
        set_float32_matmul_precision set_num_interop_threads set_num_threads set_printoptions set_warn_always
        use_deterministic_algorithms""",
    ),
    (
        "It is a part of torch's own machinery, not a function on tensors.",
        """Optional assert_int_or_pair classproperty fork handle_torch_function has_torch_function
        has_torch_function_unary has_torch_function_variadic import_ir_module import_ir_module_from_buffer
        merge_type_from_type_comment parse_ir parse_schema parse_type_comment sym_constrain_range
        sym_constrain_range_for_size sym_float sym_fresh_size sym_int sym_ite sym_max sym_min sym_not sym_sqrt sym_sum
        unify_type_list wait""",
    ),
)

EXCLUDED: Final[Mapping[str, str]] = MappingProxyType(
    {name: reason for reason, names in _GROUPS for name in names.split()}
)
"""The reason for each name."""
