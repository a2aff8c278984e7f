# shellcheck shell=bash disable=SC2034
# Where each corpus lies on disk. Edit the paths; relative ones start at the directory of run.sh.

# mini: twelve languages of synthetic speech, about 540 MB, made here by stage 1.
MINI=downloads/mini

# prompts: real speech of Debian's voice-prompt packages, about 400 MB, fetched to here by stage 1.
PROMPTS=downloads/prompts

# VoxLingua107: the folder with one subfolder of audio for each language; empty if you do not have it.
VOXLINGUA107=
