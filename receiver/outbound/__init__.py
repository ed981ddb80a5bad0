"""Letters go out: customers become recipients, recipients become mailings, mailings reach Optilyz."""
