# shellcheck shell=bash disable=SC2034
# Where each corpus lies on disk. Edit the paths; relative ones start at the directory of run.sh.

# mini: twelve languages of synthetic speech, about 540 MB, made here by stage 1.
MINI=downloads/mini

# prompts: real speech of Debian's voice-prompt packages, about 400 MB, fetched to here by stage 1.
PROMPTS=downloads/prompts

# VoxLingua107: a folder with LANG/*.wav and dev/LANG/*.wav, or with LANG.zip and dev.zip, or one that is missing
# or empty: then stage 1 downloads the corpus to it. Empty: not used. Disk space: docs/voxlingua107.md.
VOXLINGUA107=
# The address of the folder that has its zip_urls.txt, and beside it the zips.
VOXLINGUA107_URL=http://bark.phon.ioc.ee/voxlingua107/

# For augmentation, with any corpus: folders of MUSAN (music, noise, speech) and RIRS_NOISES (simulated_rirs),
# there or to be fetched to by stage 1; 12 and 7 GB, and their archives beside them. Empty: training goes without.
MUSAN=
MUSAN_URL=https://www.openslr.org/resources/17/musan.tar.gz
RIRS_NOISES=
RIRS_NOISES_URL=https://www.openslr.org/resources/28/rirs_noises.zip
