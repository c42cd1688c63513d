"""What SFT and GRPO share: settings, TRL's arguments, the optimiser, checkpoints, tracking, the saved weights."""
