"""A Django project with the admin, its database where SITE_DATABASE says, its static files served
by WhiteNoise. SITE_FILES names a directory with a file "large.bin"."""
