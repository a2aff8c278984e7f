# shellcheck shell=bash disable=SC2034
# Where each corpus is on disk. Edit the paths; relative paths start at the directory of run.sh.

# mini: twelve languages of synthetic speech, about 540 MB, made here by stage 1.
MINI=downloads/mini

# prompts: real speech from Debian's voice-prompt packages, about 400 MB, downloaded here by stage 1.
PROMPTS=downloads/prompts

# voices: real speech in 33 languages from Debian packages, about 1.5 GB, downloaded here by stage 1. It also uses
# the packages of prompts.
VOICES=downloads/voices

# VoxLingua107: a directory with LANG/*.wav and dev/LANG/*.wav, or with LANG.zip and dev.zip. If it is missing or
# empty, stage 1 downloads the corpus to it. No value: not used. Disk space: docs/voxlingua107.md.
VOXLINGUA107=
# The address of the directory that holds zip_urls.txt and the zips.
VOXLINGUA107_URL=https://bark.phon.ioc.ee/voxlingua107/

# voxlingua107_dev: VoxLingua107's dev set alone, 1 GB. A directory with dev/LANG/* or LANG/* (.wav or .flac), or with
# dev.zip. If it is missing or empty, stage 1 downloads dev.zip (0.5 GB) from VOXLINGUA107_URL to it.
VOXLINGUA107_DEV=downloads/voxlingua107_dev

# For augmentation, with any corpus: directories of MUSAN (music, noise, speech) and RIRS_NOISES (simulated_rirs).
# Stage 1 downloads those that are missing, 12 and 6 GB and the archives beside them. No value: not used.
MUSAN=
MUSAN_URL=https://www.openslr.org/resources/17/musan.tar.gz
RIRS_NOISES=
RIRS_NOISES_URL=https://www.openslr.org/resources/28/rirs_noises.zip
