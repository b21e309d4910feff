"""Trainings as jobs of submitit: on the devices of this machine, or in Slurm."""
