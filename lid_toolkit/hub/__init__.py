"""Exchange models with others: upload to the Hugging Face Hub, and imported models as experiments."""
