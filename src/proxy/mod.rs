//! One HTTP exchange: request in, upstream asked, response out, a session reading along.
