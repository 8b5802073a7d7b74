"""What is claimed, measured. Each script prints its command, machine, seeds, medians and spread."""
