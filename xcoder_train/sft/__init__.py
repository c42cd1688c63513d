"""Supervised fine-tuning: its settings, its data, its training. It knows neither recipe nor run."""
