"""Import trained models of other toolkits without running any code in them."""
