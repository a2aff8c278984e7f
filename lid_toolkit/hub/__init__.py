"""Exchange models with others: upload to the Hugging Face Hub, and import from other toolkits."""
