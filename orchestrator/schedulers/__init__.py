"""What submits a run as a batch job, and what is known of the job in which a driver runs."""
