<%-- Answers 200 when the ERP's database answers. --%>
<%@ page contentType="text/plain; charset=UTF-8" session="false" trimDirectiveWhitespaces="true"
         import="java.sql.Connection, javax.naming.InitialContext, javax.sql.DataSource" %>
<%
    DataSource source = (DataSource) new InitialContext().lookup("java:comp/env/jdbc/erp");
    try (Connection connection = source.getConnection()) {
        boolean valid = connection.isValid(3);
        response.setStatus(valid ? 200 : 503);
        out.print(valid ? "ok" : "the database does not answer");
    }
%>
