"""sim_clients"""
