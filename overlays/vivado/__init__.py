"""Builds real overlays with Vivado. Untested: there is none here."""
