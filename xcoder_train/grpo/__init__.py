"""GRPO on judged code: its settings, its prompts, its rollouts, its training. It knows neither recipe nor run."""
