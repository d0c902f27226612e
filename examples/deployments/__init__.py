"""The five deployments: exported, converted, served, compared and measured by one command."""
