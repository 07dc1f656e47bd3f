"""A Django project with the admin site, its database where DJSITE_DATABASE says."""
