"""Settings of whole runs that end in seconds on tiny models."""

ON_CPU = {"bf16": False, "use_cpu": True}
SHORT_REINFORCEMENT = {
    "reward": {
        "samples": 8,
        "temperature": 1.0,
        "num_train_epochs": 1,
        "per_device_train_batch_size": 8,
        **ON_CPU,
    },
    "ppo": {
        "total_episodes": 32,
        "rollout_batch_size": 16,
        "num_mini_batches": 2,
        "per_device_train_batch_size": 16,
        "eval_steps": 0.5,
        "save_steps": 0.5,
        **ON_CPU,
    },
}
