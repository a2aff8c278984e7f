"""MUSAN and RIRS_NOISES: noises and room impulse responses for augmentation."""
