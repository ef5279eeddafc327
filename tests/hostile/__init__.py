"""Clients that mean harm, against a served proxy."""
