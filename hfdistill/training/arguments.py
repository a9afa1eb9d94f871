"""What the fields of `transformers.TrainingArguments` and `trl.SFTConfig` decide about the model that is trained."""

from ..fields import DECIDES, Effect, Values


# Where and how a training runs, what it logs and keeps on the way.
WITHOUT_EFFECT = """
    activation_checkpointing activation_checkpointing_kwargs activation_offloading gradient_checkpointing
    gradient_checkpointing_kwargs torch_empty_cache_steps use_cpu
    dataloader_multiprocessing_context dataloader_num_workers dataloader_persistent_workers dataloader_pin_memory
    dataloader_prefetch_factor dataset_num_proc
    ddp_backend ddp_broadcast_buffers ddp_bucket_cap_mb ddp_find_unused_parameters ddp_static_graph ddp_timeout
    deepspeed fsdp fsdp_config local_rank parallelism_config
    per_device_eval_batch_size eval_accumulation_steps eval_use_gather_object
    disable_tqdm include_num_input_tokens_seen log_level log_level_replica log_on_each_node
    logging_first_step logging_nan_inf_filter logging_steps logging_strategy project report_to run_name
    skip_memory_metrics trackio_bucket_id trackio_space_id trackio_static_space_id debug
    hub_always_push hub_model_id hub_private_repo hub_revision hub_strategy hub_token push_to_hub
    do_eval do_predict do_train enable_jit_checkpoint output_dir restore_callback_states_from_checkpoint
    resume_from_checkpoint save_on_each_node save_only_model save_total_limit
"""

# What is recorded even where it is the default, which a later version of the library may change.
ALWAYS = """
    learning_rate lr_scheduler_type lr_scheduler_kwargs warmup_steps num_train_epochs max_steps
    optim optim_args weight_decay adam_beta1 adam_beta2 adam_epsilon max_grad_norm label_smoothing_factor
    per_device_train_batch_size gradient_accumulation_steps seed bf16 fp16
    eval_strategy
"""

# What matters where something is evaluated.
OF_VALIDATION = """
    eval_delay eval_on_start save_strategy load_best_model_at_end metric_for_best_model greater_is_better
"""


def validates(asked: Values) -> bool:
    """Whether a training that is asked for evaluates, and so chooses a checkpoint."""
    return asked["eval_strategy"] != "no"


# A field that stands in neither list is recorded where it differs from the library's default.
EFFECTS: dict[str, Effect | None] = {
    **dict.fromkeys(WITHOUT_EFFECT.split()),
    **dict.fromkeys(ALWAYS.split(), DECIDES),
    **dict.fromkeys(OF_VALIDATION.split(), Effect(when=validates)),
    # Steps between evaluations or checkpoints matter where these are counted in steps.
    "eval_steps": Effect(
        when=lambda asked: asked["eval_strategy"] == "steps",
        value=lambda asked: asked["eval_steps"] or asked["logging_steps"],  # as TrainingArguments fills it in
    ),
    "save_steps": Effect(when=lambda asked: validates(asked) and asked["save_strategy"] == "steps"),
}

# Where `global_batch_size` says what an update takes, batch and accumulation of a process are worked out from it.
OF_A_PROCESS = Effect(when=lambda asked: asked["global_batch_size"] is None)
EFFECTS_OF_BATCHES = {
    **EFFECTS,
    "per_device_train_batch_size": OF_A_PROCESS,
    "gradient_accumulation_steps": OF_A_PROCESS,
}
