/** The package's version at run time; a test holds it equal to package.json's. */
export const version = "0.1.0";
