"""MUSAN and RIRS_NOISES: noises and rooms for augmentation."""
